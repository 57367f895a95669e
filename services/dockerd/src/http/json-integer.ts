/** Of JavaScript's JSON: text that goes into a document as it is. */
declare global {
  interface JSON {
    rawJSON(text: string): object;
  }
}

/** A whole number, for a document of JSON, that may have more digits than a number of JavaScript's keeps. */
export function jsonInteger(value: bigint): object {
  return JSON.rawJSON(String(value));
}
