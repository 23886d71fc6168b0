"""A prompt as the answer that an assistant has begun, through a model's own chat template.

The user asks for code to be continued; the assistant's turn is open and holds a fence and the
prompt. What the model is asked is thus what it is asked without a template, to go on with a text,
but it is where an instruct model usually writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hfbiasedit.errors import BiasEditError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

REQUEST = "Continue this {language} code."
OPENING = "```{language}\n"


def prefilled(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], languages: Sequence[str]
) -> list[str]:
    """The prompts, each behind the chat up to it.

    Args:
        tokenizer: has the template. prompts: the texts. languages: of each, such as `python`.

    Raises:
        BiasEditError: there is no template, or none that lets an assistant begin.
    """
    chats = {language: _until_answer(tokenizer, language) for language in dict.fromkeys(languages)}
    return [chats[language] + text for text, language in zip(prompts, languages, strict=True)]


def _until_answer(tokenizer: PreTrainedTokenizerBase, language: str) -> str:
    if not getattr(tokenizer, "chat_template", None):
        raise BiasEditError("the model has no chat template; leave --chat out")
    messages = [{"role": "user", "content": REQUEST.format(language=language)}]
    asked, begun = (_rendered(tokenizer, messages, begin) for begin in (False, True))
    if begun == asked:
        raise BiasEditError("the model's chat template cannot begin an answer; leave --chat out")
    return begun + OPENING.format(language=language)


def _rendered(tokenizer: PreTrainedTokenizerBase, messages: Any, begin: bool) -> str:
    from jinja2 import TemplateError

    try:
        # Models that can think are asked not to; templates of others do not look at it.
        text = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=begin, enable_thinking=False
        )
    except (TemplateError, ValueError, TypeError) as error:
        raise BiasEditError(f"the model's chat template cannot be used: {error}") from error
    return str(text)
