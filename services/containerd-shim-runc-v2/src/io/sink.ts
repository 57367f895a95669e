/** Where output goes. */
export interface Sink {
  /** Take bytes, which hold only during the call. False: enough for now, wait until told that there is room. */
  write(bytes: Uint8Array): boolean;
  /** Nothing more will come. */
  end(): void;
  /** Give up whatever is still to be delivered. */
  close(): void;
}
