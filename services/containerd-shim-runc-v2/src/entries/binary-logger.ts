export { BinaryLogger } from "../io/binary-logger.ts";
