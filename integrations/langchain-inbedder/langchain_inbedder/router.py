"""ViewRouter: picks the view that a question is about, by a language model or without one.

Without a language model the embedder does it, by its own answer words: it answers each view's
question about the user's question, and the view fits whose answer is said there. "Who wants a
refund?", asked what the customer needs, reads as "refund"; asked which product it is about, as
nothing that it says. It costs one embedding of the question and takes no prompt. It is a small
model's guess: give a language model where a wrong view is costly.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from inbedder_retrieval import GENERAL, InputError, TextEmbedder, ViewCollection, Views
from langchain_core.documents import Document
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import BaseMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BaseModel, Field, create_model

from langchain_inbedder.store import InBedderVectorStore

__all__ = ["ViewRouter"]

# How many answer words are read from each view.
WORDS = 3
PROMPT = ChatPromptTemplate.from_messages(
    [
        (
            "system",
            "Documents are searched by the answers they give to one of these questions:\n{views}\n"
            "Reply with the name of the question that the user's request is about, and nothing "
            "else.",
        ),
        ("human", "{question}"),
    ]
)


@dataclass(frozen=True)
class ViewRouter:
    """Picks one of a collection's views for a question.

    Attributes:
        collection: whose views are chosen from; the general view only where it is named in
            `otherwise`, since it asks nothing.
        llm: a chat model that picks; None lets the embedder do it.
        otherwise: the view to take where the model's reply names none, or several; None raises.
    """

    collection: ViewCollection
    llm: Runnable[LanguageModelInput, BaseMessage] | None = None
    otherwise: str | None = None

    def pick(self, question: str) -> str:
        """Return the name of the view that the question is about.

        Raises:
            InputError: the collection has no view with a question, or the reply is unusable.
        """
        views = self._choice()
        if self.llm is None:
            return _nearest(self.collection.embedder, question, views)
        prompt = PROMPT.invoke({"views": _listed(views), "question": question})
        return self._named(self.llm.invoke(prompt), views)

    async def apick(self, question: str) -> str:
        """As `pick`; the embedder runs in a worker thread."""
        views = self._choice()
        if self.llm is None:
            return await asyncio.to_thread(
                lambda: _nearest(self.collection.embedder, question, views)
            )
        prompt = await PROMPT.ainvoke({"views": _listed(views), "question": question})
        return self._named(await self.llm.ainvoke(prompt), views)

    def as_tool(self, *, k: int = 4, name: str = "search_documents") -> BaseTool:
        """Return a tool for agents: a search whose view the agent may name, or leave to `pick`.

        The tool returns text for the model; the documents are its artifact.
        """

        def search(query: str, view: str | None = None) -> tuple[str, list[Document]]:
            chosen = view or self.pick(query)
            store = InBedderVectorStore(self.collection, view=chosen)
            return _told(chosen, store.similarity_search(query, k))

        async def asearch(query: str, view: str | None = None) -> tuple[str, list[Document]]:
            chosen = view or await self.apick(query)
            store = InBedderVectorStore(self.collection, view=chosen)
            return _told(chosen, await store.asimilarity_search(query, k))

        return StructuredTool.from_function(
            search,
            asearch,
            name=name,
            description=(
                "Search documents by the answer they give to a question. The questions, by name:\n"
                + _listed(self.collection.views)
            ),
            args_schema=_arguments(self.collection.views),
            response_format="content_and_artifact",
        )

    def _choice(self) -> Views:
        asking = [view for view in self.collection.views if view.instruction is not None]
        if not asking:
            raise InputError(
                "the collection has no view with a question to choose; add one with add_view"
            )
        return Views(asking)

    def _named(self, reply: BaseMessage, views: Views) -> str:
        text = str(reply.text)
        names = _names_in(text, views.names)
        if len(names) == 1:
            return names[0]
        if self.otherwise is not None:
            return self.otherwise
        raise InputError(
            f"the model was to name one of the views {', '.join(views.names)}, and replied "
            f"{text[:80]!r}; name a view to take otherwise"
        )


def _names_in(text: str, names: Sequence[str]) -> list[str]:
    """Return the names that a text holds; one within a longer one is none of its own."""
    found = []
    for name in sorted(names, key=len, reverse=True):
        whole = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE)
        text, times = whole.subn(" ", text)
        if times:
            found.append(name)
    return found


def _nearest(embedder: TextEmbedder, question: str, views: Views) -> str:
    """Return the view whose answer words, read from the question, are nearest to words in it."""
    found = embedder.embed([question], views)
    read = {name: embedder.explain(found[name], top=WORDS)[0] for name in views.names}
    said = re.findall(r"\w+", question) or [question]
    answers = [one.word for name in views.names for one in read[name]]
    vectors = embedder.embed([*said, *answers], GENERAL)[GENERAL.name]
    alike = (vectors[len(said) :] @ vectors[: len(said)].T).max(axis=1)
    weights = np.array([one.weight for name in views.names for one in read[name]])
    starts = np.cumsum([0, *(len(read[name]) for name in views.names)])[:-1]
    return views.names[int(np.argmax(np.add.reduceat(alike * weights, starts)))]


def _arguments(views: Views) -> type[BaseModel]:
    # An agent sees the names as the only choices there are.
    names: Any = Literal[tuple(views.names)]
    fields: Mapping[str, Any] = {
        "query": (str, Field(description="What to look for, in words the documents might use.")),
        "view": (
            names | None,
            Field(default=None, description="The question to search by; leave it out if unsure."),
        ),
    }
    return create_model("SearchArguments", **fields)


def _listed(views: Views) -> str:
    return "\n".join(
        f"- {view.name}: {view.instruction or 'the text as a whole, no question asked'}"
        for view in views
    )


def _told(view: str, documents: list[Document]) -> tuple[str, list[Document]]:
    lines = [f"[{document.id}] {document.page_content}" for document in documents]
    return f"Searched by {view}:\n" + ("\n".join(lines) or "nothing found"), documents
