/** For whoever keeps records of its own to compare the stream with. */
export { EventJournal, type EventJournalOptions } from "./event-journal.ts";
export { findMissing, type StreamGapsOptions } from "./stream-gaps.ts";
