"""The same service in the usual form: an ORM session a request, commit, then publish and wait, then answer.

What is compared is that form and nothing else. The middlewares, the server, who may call, the validation of bodies
and queries, the rules, the tables, the sizes of the pools and the published events are task-api's own. Left out are
undo tokens, idempotency keys and conditional requests, which only makes it faster. A crash between commit and publish
loses the event here; that is what the form is known for.

`python -m bench.task_api.baseline` reads the environment of task-api.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from bench.task_api.baseline_rows import ActivityRow, ReminderRow, RevisionRow, TaskRow, UserRow
from fastapi import APIRouter, Depends, FastAPI, Query
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import selectinload

from service_kit.auth import Principal, StaticKeys, TokenVerifier
from service_kit.http_app import install_http, serve
from service_kit.redis_connection import connect_redis
from service_kit.settings import load_settings
from service_kit.sidecar import Sidecar
from task_api.adapters.ed25519_tokens import SigningKeys, read_private_keys
from task_api.adapters.postgres.accounts import PostgresAccounts
from task_api.adapters.postgres.api_keys import PostgresApiKeys
from task_api.adapters.postgres.audit_log import PostgresAudit
from task_api.adapters.postgres.database import connect
from task_api.adapters.postgres.outbox_append import encode
from task_api.adapters.postgres.rows import EPOCH, task_of
from task_api.adapters.postgres.search_words import query_of, words_of
from task_api.adapters.postgres.tables import tasks
from task_api.adapters.redis_sessions import RedisRevokedSessions
from task_api.application.announce import task_write
from task_api.application.api_keys import ApiKeys
from task_api.application.audit import Audit
from task_api.application.create_task import begin_task
from task_api.application.ports import Owner, Stamp, TaskView, TaskWrite
from task_api.domain import task as rules
from task_api.domain.errors import TaskNotFound
from task_api.domain.task import Reminder, Task
from task_api.entrypoints.http.callers import Callers, actor_of
from task_api.entrypoints.http.gate import Gate
from task_api.entrypoints.http.problems import install_domain_problems
from task_api.entrypoints.http.task_answers import ONE, ROOT, TaskAnswer, TaskPage
from task_api.entrypoints.http.task_models import TaskCreate
from task_api.entrypoints.http.task_reading import SearchQuery, TaskQuery
from task_api.settings import Settings

_PLAIN_FIELDS = (
    "id", "user_id", "number", "version", "title", "timezone", "created_at", "updated_at", "description", "status",
    "priority", "due_at", "due_date",
)  # fmt: skip
_CLOSED_FIELDS = (
    "status", "version", "updated_at", "completed_at", "closed_by", "closed_version", "closed_at",
)  # fmt: skip
_REMINDER_FIELDS = (
    "id", "set_at", "offset", "at", "channels", "snoozed_until", "acknowledged_at", "fired_for", "scheduled_for",
)  # fmt: skip


def build(settings: Settings) -> FastAPI:
    """Put the service together from the settings of task-api."""
    engine = connect(settings.database_url.get_secret_value(), pool_size=settings.database_pool_size)
    redis = connect_redis(settings)
    sidecar = Sidecar(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as opened:
            opened.push_async_callback(engine.dispose)
            opened.push_async_callback(redis.aclose)
            opened.push_async_callback(sidecar.aclose)
            yield

    app = FastAPI(title="commit, then publish", lifespan=lifespan)
    install_http(app, settings)
    install_domain_problems(app)
    keys = SigningKeys(
        read_private_keys(settings.jwt_private_keys.get_secret_value()),
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
    )
    revoked = RedisRevokedSessions(redis, PostgresAccounts(engine), keys.lifetime_seconds)
    verifier = TokenVerifier(settings, StaticKeys(keys.public_keys), revoked=revoked.is_revoked)

    async def now() -> datetime:
        return datetime.now(UTC)

    audit = Audit(PostgresAudit(engine), now)
    callers = Gate(verifier, ApiKeys(PostgresApiKeys(engine), now, audit), None, 0, audit).callers()
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    app.include_router(_writing(callers, sessions, sidecar))
    app.include_router(_reading(callers, sessions))
    return app


def _writing(callers: Callers, sessions: async_sessionmaker[AsyncSession], sidecar: Sidecar) -> APIRouter:
    router = APIRouter()
    Writer = Annotated[Principal, Depends(callers.write)]  # noqa: N806 - a type
    Session = Annotated[AsyncSession, Depends(_session_of(sessions))]  # noqa: N806 - a type

    async def commit_then_publish(session: AsyncSession, write: TaskWrite) -> None:
        await session.commit()
        announcement = write.announcement
        await sidecar.publish(announcement.topic, encode(announcement), key=str(write.after.id))

    @router.post(ROOT, status_code=201, response_model=TaskAnswer)
    async def create(body: TaskCreate, principal: Writer, session: Session) -> TaskAnswer:
        # One statement takes the number and reads the settings: the quickest way there is with this form.
        taken = await session.execute(
            update(UserRow)
            .where(UserRow.id == principal.user_id)
            .values(last_task_number=UserRow.last_task_number + 1)
            .returning(UserRow, EPOCH)
        )
        user, epoch = taken.one()
        stamp = Stamp(actor_of(principal), datetime.now(UTC))
        owner = _owner(user, epoch)
        task, _ = begin_task(owner, body.request(allow_past=False), stamp.at, user.last_task_number)
        write = task_write(None, task, owner=owner, series_version=None, stamp=stamp)
        session.add_all(_ledger_rows(_new_row(task, write), write))
        await commit_then_publish(session, write)
        return TaskAnswer.of(TaskView(task, None))

    @router.post(ONE + "/complete", response_model=TaskAnswer)
    async def complete(task_id: UUID, principal: Writer, session: Session) -> TaskAnswer:
        row = await session.scalar(
            select(TaskRow)
            .where(TaskRow.id == task_id, TaskRow.user_id == principal.user_id)
            .options(selectinload(TaskRow.reminders))
            .with_for_update()
        )
        if row is None:
            raise TaskNotFound("there is no such task")
        found = await session.execute(select(UserRow, EPOCH).where(UserRow.id == principal.user_id))
        user, epoch = found.one()
        before, stamp = _task(row), Stamp(actor_of(principal), datetime.now(UTC))
        after = rules.complete(before, stamp.at)
        write = task_write(before, after, owner=_owner(user, epoch), series_version=None, stamp=stamp)
        for name in _CLOSED_FIELDS:
            setattr(row, name, getattr(after, name))
        session.add_all(_ledger_rows(row, write))
        await commit_then_publish(session, write)
        return TaskAnswer.of(TaskView(after, None))

    return router


def _reading(callers: Callers, sessions: async_sessionmaker[AsyncSession]) -> APIRouter:
    router = APIRouter()
    Reader = Annotated[Principal, Depends(callers.read)]  # noqa: N806 - a type
    Session = Annotated[AsyncSession, Depends(_session_of(sessions))]  # noqa: N806 - a type

    @router.get(ROOT, response_model=TaskPage)
    async def page(query: Annotated[TaskQuery, Query()], principal: Reader, session: Session) -> TaskPage:
        found = await session.scalars(
            select(TaskRow)
            .where(TaskRow.user_id == principal.user_id, TaskRow.deleted_at.is_(None))
            .order_by(TaskRow.created_at.desc(), TaskRow.id.desc())
            .offset(query.offset)
            .limit(query.limit + 1)
            .options(selectinload(TaskRow.reminders))
        )
        return _page(list(found), query.limit)

    @router.get(ROOT + "/search", response_model=TaskPage)
    async def search(query: Annotated[SearchQuery, Query()], principal: Reader, session: Session) -> TaskPage:
        values = words_of(query.q)
        words = query_of(values)
        found = await session.scalars(
            select(TaskRow)
            .where(
                TaskRow.user_id == principal.user_id,
                TaskRow.deleted_at.is_(None),
                tasks.c.search.op("@@")(words),
            )
            .order_by(func.ts_rank_cd(tasks.c.search, words).desc(), TaskRow.id.desc())
            .limit(query.limit + 1)
            .options(selectinload(TaskRow.reminders)),
            values,
        )
        return _page(list(found), query.limit)

    @router.get(ONE, response_model=TaskAnswer)
    async def read(task_id: UUID, principal: Reader, session: Session) -> TaskAnswer:
        row = await session.scalar(
            select(TaskRow)
            .where(TaskRow.id == task_id, TaskRow.user_id == principal.user_id, TaskRow.deleted_at.is_(None))
            .options(selectinload(TaskRow.reminders))
        )
        if row is None:
            raise TaskNotFound("there is no such task")
        return _shown(row)

    return router


def _session_of(sessions: async_sessionmaker[AsyncSession]) -> Any:
    async def opened() -> AsyncIterator[AsyncSession]:
        async with sessions() as session:
            yield session

    return opened


def _owner(user: UserRow, epoch: int) -> Owner:
    return Owner(user.id, user.timezone, user.day_start, user.default_reminder, epoch)


def _new_row(task: Task, write: TaskWrite) -> TaskRow:
    values = {name: getattr(task, name) for name in _PLAIN_FIELDS}
    return TaskRow(
        **values,
        tags=list(task.tags),
        details=dict(task.metadata),
        due_instant=task.due(write.day_start),
        reminders=[
            ReminderRow(
                **{name: getattr(reminder, name) for name in _REMINDER_FIELDS if name != "channels"},
                channels=list(reminder.channels),
                user_id=task.user_id,
                position=position,
            )
            for position, reminder in enumerate(task.reminders)
        ],
    )


def _ledger_rows(task: TaskRow, write: TaskWrite) -> tuple[RevisionRow, ActivityRow]:
    told = {
        "id": write.announcement.event_id,
        "task": task,
        "user_id": write.after.user_id,
        "at": write.announcement.at,
    }
    return (
        RevisionRow(
            **told,
            version=write.after.version,
            actor=write.stamp.actor.model_dump(mode="json"),
            changes={name: asdict(change) for name, change in write.changes.items()},
            change_id=write.stamp.change_id,
        ),
        ActivityRow(**told, kind=write.activity_kind, detail=write.activity_detail),
    )


def _task(row: TaskRow) -> Task:
    reminders = tuple(
        Reminder(**{name: getattr(reminder, name) for name in _REMINDER_FIELDS}) for reminder in row.reminders
    )
    return task_of({**vars(row), "metadata": vars(row)["details"]}, reminders)


def _shown(row: TaskRow) -> TaskAnswer:
    return TaskAnswer.of(TaskView(_task(row), None))


def _page(found: list[TaskRow], limit: int) -> TaskPage:
    more = len(found) > limit
    return TaskPage(items=tuple(_shown(row) for row in found[:limit]), next_cursor=None, has_next=more)


def main() -> None:
    """Serve until SIGTERM, as task-api does."""
    settings = load_settings(Settings)
    serve(lambda: build(settings), settings)


if __name__ == "__main__":
    main()
