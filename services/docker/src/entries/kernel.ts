/** What commands that meet a terminal load besides their own file. */
export { makeTerminalRaw, restoreTerminal, windowSize } from "@longshore/syscalls";
