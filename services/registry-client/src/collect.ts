import { collector } from "@longshore/rpc";

/** For the bytes of blobs, in either direction. */
export const collectNowAndThen = collector(12 << 20);
