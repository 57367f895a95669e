export { LogCompressor } from "../io/log-compressor.ts";
