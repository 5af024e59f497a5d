"""Storage: how an engine keeps vectors, chosen once, when a collection is created."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Quantization", "Storage"]

# How many times more points the smaller copies give than are asked for, to be scored anew.
OVERSAMPLING = 2.0

Quantization: TypeAlias = Literal["scalar", "binary", "turbo"]


class Storage(BaseModel):
    """How an engine keeps vectors. The defaults suit up to some millions of vectors in memory.

    Names and meanings are Qdrant's (its documentation: Storage, Quantization, Distributed
    deployment, Multitenancy). What concerns a cluster is for a server only.

    Attributes:
        quantization: smaller copies to search first: `scalar` (8 bits a number), `binary` (1 bit),
            or `turbo` (TurboQuant, 4 bits). What they find is scored anew with the full vectors.
            In a folder they are made by `optimize`.
        on_disk: full vectors stay on disk and are cached by the system. In a folder, those of a
            view that is added later are moved there by `optimize`.
        hnsw_m: links of a node in the graph; more find more, and take memory.
        hnsw_ef_construct: neighbours looked at when the graph is built.
        tenant: the metadata field that parts the documents by owner. It gets an index of Qdrant's
            tenant kind; every document must have it, as text.
        shard_per_tenant: each tenant gets shards of its own (user-defined sharding). A search
            whose filter names the tenant asks its shards only.
        shard_number: shards of the collection, or of each tenant.
        replication_factor: copies of each shard in the cluster.
        write_consistency_factor: copies that must have a write before it is acknowledged.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    quantization: Quantization | None = None
    on_disk: bool = False
    hnsw_m: int | None = Field(default=None, ge=0, le=1024)
    hnsw_ef_construct: int | None = Field(default=None, ge=4, le=65536)
    tenant: str | None = Field(default=None, min_length=1)
    shard_per_tenant: bool = False
    shard_number: int | None = Field(default=None, ge=1)
    replication_factor: int | None = Field(default=None, ge=1)
    write_consistency_factor: int | None = Field(default=None, ge=1)

    @property
    def for_server_only(self) -> list[str]:
        """The names of what was chosen and only a server has."""
        names = (
            "shard_per_tenant",
            "shard_number",
            "replication_factor",
            "write_consistency_factor",
        )
        return [name for name in names if getattr(self, name)]
