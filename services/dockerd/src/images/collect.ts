import { collector } from "@longshore/rpc";

/** For the bytes of archives. */
export const collectNowAndThen = collector(32 << 20);
