import { type JsonFileLog, JsonFileWriter } from "@longshore/stdio";
import { compressRotated } from "@longshore/stdio/compress";
import type { Sender } from "./sender.ts";

const NEWLINE = Buffer.from("\n");

/** A file, written apart from the container's output: a disk that hangs holds up nobody else. */
export function openFileSender(log: JsonFileLog): Sender {
  let compressing = Promise.resolve();
  const onError = () => {}; // told once by what is missing from the log
  const writer = new JsonFileWriter(log, {
    onError,
    onRotated: () => {
      compressing = compressing.then(() => compressRotated(log.path, log.maxFiles ?? 1)).catch(onError);
    },
  });
  return {
    async send({ stream, text, part }) {
      writer.write(stream, text);
      if (!part || part.last) writer.write(stream, NEWLINE);
    },
    async close() {
      writer.close();
      await compressing;
    },
  };
}
