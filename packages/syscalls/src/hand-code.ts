/**
 * The machine code (x86-64) of a {@link ./hand.ts Hand}: 270 bytes of position-independent code, listed in hand-code-listing.ts so that
 * `objdump -D -b binary -m i386:x86-64 -M intel` of the bytes can be held against it.
 *
 * `run` carries out a table of system calls. An entry has 80 bytes: nr u32, indirect u32 (bit i: argument i is the address of its
 * value, so an entry can use the result of an earlier one), onError i32 and onOk i32 (entries to skip; onError −1 stops),
 * arguments 6 × u64, result i64, unused u64.
 */
const HAND_CODE =
  "4989d0b8b30100000f0585c074034898c34c89c38b1383fa0274114889df31f64531d2b8ca0000000f05ebe84c8b63084c8b" +
  "6b10e83e0000004c896318c703010000004889dfbe01000000ba01000000b8ca0000000f05ebbb41bc0000500049c7c5ffff" +
  "ffffe80c000000bfff000000b8e70000000f054d39ec0f838d000000458b742404498b7c241041f6c6017403488b3f498b74" +
  "241841f6c6027403488b36498b54242041f6c6047403488b124d8b54242841f6c60874034d8b124d8b44243041f6c6107403" +
  "4d8b004d8b4c243841f6c62074034d8b09418b04240f054989442440483d01f0ffff7307496344240ceb0b49634424084883" +
  "f8ff740f48ffc0486bc0504901c4e96affffffc35be900ffffff";

/** Bytes of one entry of the table. */
export const ENTRY_BYTES = 80;

/** Where `elf:` starts in the code. */
export const ELF_ENTRY = 0x59;

/** Where `adopt:` starts in the code. */
export const ADOPT_ENTRY = 0x10e;

/** The code's bytes. */
export function handCode(): Buffer {
  return Buffer.from(HAND_CODE, "hex");
}
