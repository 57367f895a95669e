import { dlopen, FFIType } from "bun:ffi";
import { EngineError } from "@longshore/errors";

const NFT_CTX_DEFAULT = 0;
const NFT_CTX_OUTPUT_HANDLE = 1 << 3;
const NFT_CTX_OUTPUT_JSON = 1 << 4;

const open = () =>
  dlopen("libnftables.so.1", {
    nft_ctx_new: { args: [FFIType.u32], returns: FFIType.ptr },
    nft_ctx_free: { args: [FFIType.ptr], returns: FFIType.void },
    nft_ctx_buffer_output: { args: [FFIType.ptr], returns: FFIType.i32 },
    nft_ctx_buffer_error: { args: [FFIType.ptr], returns: FFIType.i32 },
    nft_ctx_get_output_buffer: { args: [FFIType.ptr], returns: FFIType.cstring },
    nft_ctx_get_error_buffer: { args: [FFIType.ptr], returns: FFIType.cstring },
    nft_ctx_output_set_flags: { args: [FFIType.ptr, FFIType.u32], returns: FFIType.void },
    nft_run_cmd_from_buffer: { args: [FFIType.ptr, FFIType.ptr], returns: FFIType.i32 },
  }).symbols;

let symbols: ReturnType<typeof open> | undefined;
function library(): ReturnType<typeof open> {
  try {
    symbols ??= open();
  } catch (cause) {
    throw new EngineError("failed_precondition", "libnftables.so.1 is missing: install libnftables1", {
      cause,
    });
  }
  return symbols;
}

type Context = Exclude<ReturnType<ReturnType<typeof open>["nft_ctx_new"]>, null>;

/** libnftables, bound to the network namespace it was made in. Synchronous. */
export class Nftables implements Disposable {
  #context: Context | undefined;

  constructor() {
    const context = library().nft_ctx_new(NFT_CTX_DEFAULT);
    if (context === null) throw new EngineError("internal", "nft_ctx_new failed");
    library().nft_ctx_buffer_output(context);
    library().nft_ctx_buffer_error(context);
    library().nft_ctx_output_set_flags(context, NFT_CTX_OUTPUT_JSON | NFT_CTX_OUTPUT_HANDLE);
    this.#context = context;
  }

  /**
   * Run commands in nft's own language, as one transaction.
   *
   * @returns what `list` commands print: JSON as in libnftables-json(5), with handles
   * @throws EngineError `failed_precondition` with nft's message
   */
  run(commands: string): string {
    const context = this.#context;
    if (context === undefined) throw new Error("nftables context is closed");
    const failed = library().nft_run_cmd_from_buffer(context, Buffer.from(`${commands}\0`)) !== 0;
    // Both buffers start anew with each read.
    const output = String(library().nft_ctx_get_output_buffer(context) ?? "");
    const error = String(library().nft_ctx_get_error_buffer(context) ?? "");
    if (failed) throw new EngineError("failed_precondition", `nftables: ${error.trim()}`);
    return output;
  }

  [Symbol.dispose](): void {
    if (this.#context === undefined) return;
    library().nft_ctx_free(this.#context);
    this.#context = undefined;
  }
}
