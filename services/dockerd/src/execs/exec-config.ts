import { z } from "zod";

const string = z
  .string()
  .nullish()
  .transform((value) => value ?? "");
const boolean = z
  .boolean()
  .nullish()
  .transform((value) => value ?? false);
const strings = z
  .array(z.string())
  .nullish()
  .transform((value) => value ?? []);
const size = z.tuple([z.number().int(), z.number().int()]).nullish();

/** Body of an exec create. */
export const execConfigSchema = z.object({
  User: string,
  Privileged: boolean,
  Tty: boolean,
  ConsoleSize: size,
  AttachStdin: boolean,
  AttachStdout: boolean,
  AttachStderr: boolean,
  DetachKeys: string,
  Env: strings,
  WorkingDir: string,
  Cmd: strings,
});
export type ExecConfig = z.output<typeof execConfigSchema>;

/** Body of an exec start. */
export const execStartSchema = z.object({ Detach: boolean, Tty: boolean, ConsoleSize: size });
export type ExecStart = z.output<typeof execStartSchema>;
