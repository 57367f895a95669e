export { type AppliedLayer, applyLayer } from "./apply-layer.ts";
export { copyTree } from "./copy-tree.ts";
export {
  type Compression,
  compressionOf,
  detectCompression,
  readDecompressed,
  writeCompressed,
} from "./decompress.ts";
export { decompressStream, peekCompression, type StreamCompression } from "./decompress-stream.ts";
export { type ApplyOptions, LayerApplier } from "./layer-applier.ts";
export { type DiffOptions, diffTrees, diffUpperDirectory, hasRedirects } from "./layer-differ.ts";
export { type PackOptions, packTree } from "./pack-tree.ts";
export { appendRegularFile, readRegularFile, writeRegularFile } from "./regular-file.ts";
export { type FileTimes, type Owners, type Place, RootedTree } from "./rooted-tree.ts";
export { checkSize, DEFAULT_SIZE_LIMITS, type SizeLimits } from "./size-limits.ts";
export { type PassingEntry, tarEntries } from "./tar-entries.ts";
export type { EntryType, TarEntry } from "./tar-header.ts";
export { TarReader, type TarSink } from "./tar-reader.ts";
export { contentPadding, END_BLOCKS, headerBlocks } from "./tar-writer.ts";
export { cleanPath, splitPath, statusOf } from "./tree-paths.ts";
export { type TreeUsage, treeUsage } from "./tree-usage.ts";
export { type UnpackOptions, unpackTree } from "./unpack-tree.ts";
export { type PathChange, upperChanges } from "./upper-changes.ts";
