export { ContentStore, type WriterOptions } from "./content-store.ts";
export type { IngestStatus } from "./ingest-status.ts";
export type { IngestWriter } from "./ingest-writer.ts";
