"""Fine-tuning transfer: M_t + λ·(FT(M_s) − M_s), streaming, bit for bit the reference's arithmetic.

`plan_transfer` proves from headers that three checkpoints fit and lays the result out: tensors brought under the
target's names (matching), rows of the vocabulary (rows), heads and ties, stop tokens (special_tokens) and the files
beside the weights (sidecars). `transfer_to_folder` and `transfer_in_store` carry a plan out shard by shard (stream, by
pieces and the compiled kernel) and measure every tensor on the way (`Statistics`).

    layouts = [read_layout(FolderSource(path=path)) for path in (base, tuned, target)]
    parents = {role: TransferInput(layout=layout, manifest=None) for role, layout in zip(ROLES, layouts)}
    job = Transfer(parents=parents, scale=parse_scale("1.0"), dtype="auto", memory=512_000_000, verified=None)
    checkpoint, statistics = transfer_to_folder(job, Path("recycled"))
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
