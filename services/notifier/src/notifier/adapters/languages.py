"""The languages there are: gettext catalogues in `locale/<language>/LC_MESSAGES/notifier.mo`; English needs none."""

from __future__ import annotations

import re
from functools import lru_cache
from gettext import NullTranslations, translation
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

_FOLDER = Path(__file__).parent / "locale"
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(_[A-Za-z0-9]{2,8})*")


class Languages:
    """Gives the words and the templates of a person's language; of one that is not there, the English ones."""

    def __init__(self, folder: Path = _FOLDER) -> None:
        self._folder = folder
        self._known = lru_cache(maxsize=64)(self._found)
        self._environment = lru_cache(maxsize=64)(self._made)

    def words(self, locale: str, /) -> NullTranslations:
        """Give the words of a language tag like `de` or `de-AT`."""
        return self._known(locale)

    def _found(self, locale: str) -> NullTranslations:
        language = locale.replace("-", "_")
        known = [language] if _LANGUAGE.fullmatch(language) else []
        return translation("notifier", self._folder, known, fallback=True)

    def render(self, template: str, locale: str, **values: object) -> str:
        """Render one of this package's templates; those ending in `.html.j2` escape every value."""
        return self._environment(locale).get_template(template).render(values)

    def _made(self, locale: str) -> Environment:
        words = self.words(locale)
        environment = Environment(
            loader=PackageLoader("notifier.adapters"),
            autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
            undefined=StrictUndefined,
            extensions=["jinja2.ext.i18n"],
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.install_gettext_translations(words, newstyle=True)  # type: ignore[attr-defined]
        environment.globals["language"] = words.info().get("language", "en").replace("_", "-")
        return environment
