export { EngineError, type ErrorCode, errorCode, toEngineError } from "./engine-error.ts";
export { Errno, isErrno } from "./errno.ts";
