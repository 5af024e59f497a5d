"""Answer questions from a folder of Markdown files: split, store, retrieve, prompt, reply."""

from pathlib import Path

from langchain_core.documents import Document
from langchain_core.language_models.fake_chat_models import ParrotFakeChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnablePassthrough
from langchain_inbedder import InBedderVectorStore
from langchain_text_splitters import RecursiveCharacterTextSplitter

FOLDER = Path(__file__).parent / "handbook"
# Swap the next line, which replies with its prompt, for init_chat_model("...") of `langchain`.
LLM = ParrotFakeChatModel()
PROMPT = ChatPromptTemplate.from_template(
    "Answer from these passages alone.\n\n{passages}\n\nQuestion: {question}"
)


def read(folder: Path) -> list[Document]:
    """Cut the files into passages that the model reads whole: about 170 words at most."""
    splitter = RecursiveCharacterTextSplitter(chunk_size=400, chunk_overlap=40)
    files = [
        Document(path.read_text(encoding="utf-8"), metadata={"source": path.name})
        for path in sorted(folder.glob("*.md"))
    ]
    return splitter.split_documents(files)


def joined(documents: list[Document]) -> str:
    return "\n\n".join(f"({one.metadata['source']}) {one.page_content}" for one in documents)


def build(store: InBedderVectorStore) -> Runnable[str, str]:
    retriever = store.as_retriever(search_kwargs={"k": 2})
    passages = {"passages": retriever | joined, "question": RunnablePassthrough()}
    return passages | PROMPT | LLM | StrOutputParser()


def main() -> None:
    views = {"subject": "What is it about?", "general": None}
    # A path in place of ":memory:" keeps it; passages that are there already cost nothing.
    passages = read(FOLDER)
    with InBedderVectorStore.from_documents(passages, location=":memory:", views=views) as store:
        print(build(store).invoke("The kettle is leaking, what do I tell the customer?"))


if __name__ == "__main__":
    main()
