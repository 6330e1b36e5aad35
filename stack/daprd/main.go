// Command daprd is the Dapr sidecar with the components that Taskstream uses, and no other.
//
// The official build compiles some hundreds of components; this one compiles in a few
// minutes and needs no container image. The command line is daprd's own.
package main

import (
	"context"
	"fmt"
	"os"

	cronbinding "github.com/dapr/components-contrib/bindings/cron"
	"github.com/dapr/components-contrib/nameresolution/mdns"
	sqliteresolver "github.com/dapr/components-contrib/nameresolution/sqlite"
	"github.com/dapr/components-contrib/pubsub/kafka"
	"github.com/dapr/components-contrib/secretstores/local/env"
	"github.com/dapr/components-contrib/secretstores/local/file"
	"github.com/dapr/components-contrib/state/redis"
	"github.com/dapr/dapr/cmd/daprd/options"
	"github.com/dapr/dapr/pkg/buildinfo"
	"github.com/dapr/dapr/pkg/components/bindings"
	"github.com/dapr/dapr/pkg/components/nameresolution"
	"github.com/dapr/dapr/pkg/components/pubsub"
	"github.com/dapr/dapr/pkg/components/secretstores"
	"github.com/dapr/dapr/pkg/components/state"
	"github.com/dapr/dapr/pkg/healthz"
	"github.com/dapr/dapr/pkg/metrics"
	"github.com/dapr/dapr/pkg/modes"
	"github.com/dapr/dapr/pkg/runtime"
	"github.com/dapr/dapr/pkg/runtime/registry"
	"github.com/dapr/dapr/pkg/security"
	"github.com/dapr/kit/concurrency"
	"github.com/dapr/kit/logger"
	"github.com/dapr/kit/signals"
	"go.opencensus.io/stats/view"
)

var log = logger.NewLogger("taskstream.daprd")

func main() {
	opts, err := options.New(os.Args[1:])
	if err != nil {
		log.Fatalf("bad command line: %s", err)
	}
	if opts.RuntimeVersion {
		fmt.Println(buildinfo.Version())
		return
	}

	opts.Logger.SetAppID(opts.AppID)
	if err = logger.ApplyOptionsToLoggers(&opts.Logger); err != nil {
		log.Fatalf("bad log options: %s", err)
	}
	log.Infof("daprd %s for app %s", buildinfo.Version(), opts.AppID)

	components := register(logger.NewLogger("dapr.contrib"))

	// Each SIGHUP ends one run and begins the next; the channel closes on SIGTERM and SIGINT.
	for ctx := range signals.OnHUP(signals.Context()) {
		if err = serve(ctx, opts, components); err != nil {
			log.Fatalf("the sidecar stopped: %s", err)
		}
		if ctx.Err() == nil {
			// It was asked to stop through its API: no signal will follow.
			return
		}
	}
}

// register names every component type that a resource file may ask for.
func register(contrib logger.Logger) *registry.Options {
	pubsub.DefaultRegistry.Logger = contrib
	pubsub.DefaultRegistry.RegisterComponent(kafka.NewKafka, "kafka")

	state.DefaultRegistry.Logger = contrib
	state.DefaultRegistry.RegisterComponent(redis.NewRedisStateStore, "redis")

	bindings.DefaultRegistry.Logger = contrib
	bindings.DefaultRegistry.RegisterInputBinding(cronbinding.NewCron, "cron")

	secretstores.DefaultRegistry.Logger = contrib
	secretstores.DefaultRegistry.RegisterComponent(file.NewLocalSecretStore, "local.file")
	secretstores.DefaultRegistry.RegisterComponent(env.NewEnvSecretStore, "local.env")

	nameresolution.DefaultRegistry.Logger = contrib
	nameresolution.DefaultRegistry.RegisterComponent(mdns.NewResolver, "mdns")
	nameresolution.DefaultRegistry.RegisterComponent(sqliteresolver.NewResolver, "sqlite")

	return registry.NewOptions().
		WithPubSubs(pubsub.DefaultRegistry).
		WithStateStores(state.DefaultRegistry).
		WithBindings(bindings.DefaultRegistry).
		WithSecretStores(secretstores.DefaultRegistry).
		WithNameResolutions(nameresolution.DefaultRegistry)
}

// serve runs one sidecar beside its security provider until ctx ends or one of them fails.
func serve(ctx context.Context, opts *options.Options, components *registry.Options) error {
	health := healthz.New()
	provider, err := security.New(ctx, security.Options{
		AppID:                   opts.AppID,
		Mode:                    modes.DaprMode(opts.Mode),
		MTLSEnabled:             opts.EnableMTLS,
		SentryAddress:           opts.SentryAddress,
		TrustAnchors:            opts.TrustAnchors,
		ControlPlaneTrustDomain: opts.ControlPlaneTrustDomain,
		ControlPlaneNamespace:   opts.ControlPlaneNamespace,
		JwtAudiences:            opts.SentryRequestJwtAudiences,
		Healthz:                 health,
	})
	if err != nil {
		return fmt.Errorf("security: %w", err)
	}

	sidecar := func(ctx context.Context) error {
		handler, err := provider.Handler(ctx)
		if err != nil {
			return fmt.Errorf("security: %w", err)
		}
		config := translate(opts)
		config.Registry = components
		config.Security = handler
		config.Healthz = health
		config.Metrics = metrics.Options{
			Enabled:       opts.Metrics.Enabled(),
			Port:          opts.Metrics.Port(),
			ListenAddress: opts.Metrics.ListenAddress(),
			Namespace:     metrics.DefaultMetricNamespace,
			Log:           log,
			Healthz:       health,
			Meter:         view.NewMeter(),
		}
		dapr, err := runtime.FromConfig(ctx, config)
		if err != nil {
			return fmt.Errorf("configuration: %w", err)
		}
		return dapr.Run(ctx)
	}
	return concurrency.NewRunnerManager(provider.Run, sidecar).Run(ctx)
}

// translate copies every command line option: one left out would silently get its zero value.
func translate(opts *options.Options) *runtime.Config {
	return &runtime.Config{
		// Who it is and where its files are.
		AppID:          opts.AppID,
		Mode:           opts.Mode,
		Config:         opts.Config,
		ResourcesPath:  opts.ResourcesPath,
		ComponentsPath: opts.ComponentsPath,

		// The application beside it.
		ApplicationPort:          opts.AppPort,
		AppProtocol:              opts.AppProtocol,
		AppChannelAddress:        opts.AppChannelAddress,
		AppSSL:                   opts.AppSSL,
		AppMaxConcurrency:        opts.AppMaxConcurrency,
		AppBindingOptionsTimeout: opts.AppBindingOptionsTimeout,
		EnableAppHealthCheck:     opts.EnableAppHealthCheck,
		AppHealthCheckPath:       opts.AppHealthCheckPath,
		AppHealthProbeInterval:   opts.AppHealthProbeInterval,
		AppHealthProbeTimeout:    opts.AppHealthProbeTimeout,
		AppHealthThreshold:       opts.AppHealthThreshold,

		// Where it listens.
		DaprHTTPPort:                  opts.DaprHTTPPort,
		DaprAPIGRPCPort:               opts.DaprAPIGRPCPort,
		DaprAPIListenAddresses:        opts.DaprAPIListenAddresses,
		DaprInternalGRPCPort:          opts.DaprInternalGRPCPort,
		DaprInternalGRPCListenAddress: opts.DaprInternalGRPCListenAddress,
		DaprPublicPort:                opts.DaprPublicPort,
		DaprPublicListenAddress:       opts.DaprPublicListenAddress,
		UnixDomainSocket:              opts.UnixDomainSocket,
		ProfilePort:                   opts.ProfilePort,
		EnableProfiling:               opts.EnableProfiling,
		AllowedOrigins:                opts.AllowedOrigins,
		EnableAPILogging:              opts.EnableAPILogging,
		DisableInitEndpoints:          opts.DisableInitEndpoints,

		// Limits and the end of its life.
		MaxRequestSize:              opts.MaxRequestSize,
		ReadBufferSize:              opts.ReadBufferSize,
		DaprGracefulShutdownSeconds: opts.DaprGracefulShutdownSeconds,
		DaprBlockShutdownDuration:   opts.DaprBlockShutdownDuration,
		HotReloadReconcileInterval:  opts.HotReloadReconcileInterval,

		// The control plane, absent in the local stack.
		ControlPlaneAddress:          opts.ControlPlaneAddress,
		SentryAddress:                opts.SentryAddress,
		EnableMTLS:                   opts.EnableMTLS,
		ActorsService:                opts.ActorsService,
		ActorsDisseminationTimeout:   opts.ActorsDisseminationTimeout,
		RemindersService:             opts.RemindersService,
		SchedulerAddress:             opts.SchedulerAddress,
		SchedulerStreams:             opts.SchedulerJobStreams,
		DisableBuiltinK8sSecretStore: opts.DisableBuiltinK8sSecretStore,
	}
}
