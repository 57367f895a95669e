export { type AppliedLayer, applyLayer } from "./apply-layer.ts";
export { type Compression, compressionOf, detectCompression, readDecompressed } from "./decompress.ts";
export { type ApplyOptions, LayerApplier } from "./layer-applier.ts";
export type { EntryType, TarEntry } from "./tar-header.ts";
export { TarReader, type TarSink } from "./tar-reader.ts";
