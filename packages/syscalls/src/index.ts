export { Arena, addressOf, check, fixedBuffer, scratch, syscall } from "./call.ts";
export { renameCommandLine } from "./command-line.ts";
export * from "./constants.ts";
export { Datagrams, type DatagramsOptions } from "./datagrams.ts";
export { ensureDirectory } from "./directories.ts";
export { errnoName, errnoNumber, errnoText } from "./errno-table.ts";
export * from "./files.ts";
export {
  type Argument,
  CallError,
  type CallOptions,
  CallTable,
  Hand,
  HandGone,
  type HandOptions,
  Slot,
  type Wording,
} from "./hand.ts";
export { type ArgumentComparison, libseccomp, packComparisons } from "./libseccomp.ts";
export { tryLock } from "./lock.ts";
export * from "./mount.ts";
export { notifySupervisor } from "./notify.ts";
export * as NR from "./numbers.ts";
export * from "./process.ts";
export { becomeProgram, callProgram, programFile, programTable } from "./program-file.ts";
export { blockSignals, signalFd, unblockSignals } from "./signal-mask.ts";
export { type Poll, poll, type Ready, SignalPipe } from "./signal-pipe.ts";
export * from "./sockets.ts";
export * from "./terminal.ts";
export { type MappedIds, makeNetworkNamespaceOf, makeUserNamespace } from "./user-namespace.ts";
export * from "./xattr.ts";
export { dropZeroPages } from "./zero-pages.ts";
