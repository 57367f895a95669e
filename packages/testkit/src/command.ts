import { spawn } from "node:child_process";

export interface CommandOptions {
  env?: Record<string, string>;
  cwd?: string;
  /** What it reads on stdin; nothing (`/dev/null`) when left out. */
  stdin?: string;
  /** Run it on a terminal; its stdout and stderr then come together in `stdout`, with CR LF line ends. */
  terminal?: boolean;
  /** 30 s when left out: shorter than what a test may take, for bun ends every process of a test that takes too long. */
  timeoutMs?: number;
}

export interface CommandResult {
  /** Exit status, 128 + n when signal n ended it. */
  status: number;
  stdout: string;
  stderr: string;
}

const SIGNALS: Record<string, number> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGTERM: 15,
};

const quote = (word: string) => `'${word.replaceAll("'", "'\\''")}'`;

/**
 * Run a command to its end.
 *
 * @throws when it takes longer than `timeoutMs` (it is killed then), with what it wrote
 */
export async function run(argv: string[], options: CommandOptions = {}): Promise<CommandResult> {
  const { env = {}, cwd, stdin, terminal = false, timeoutMs = 30_000 } = options;
  // script(1) gives the command a terminal; its own stdin must stay open, or it sends the command an end of file.
  const [file = "", ...args] = terminal
    ? ["script", "--quiet", "--return", "--command", argv.map(quote).join(" "), "/dev/null"]
    : argv;
  const child = spawn(file, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: [stdin === undefined && !terminal ? "ignore" : "pipe", "pipe", "pipe"],
    detached: true,
  });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => out.push(chunk));
  child.stderr?.on("data", (chunk: Buffer) => err.push(chunk));
  child.stdin?.on("error", () => {}); // it ended before it had read everything
  if (stdin !== undefined) terminal ? child.stdin?.write(stdin) : child.stdin?.end(stdin);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  }, timeoutMs);
  try {
    const status = await new Promise<number>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => resolve(code ?? 128 + (SIGNALS[signal ?? ""] ?? 0)));
    });
    const result = { status, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() };
    if (late)
      throw new Error(`${argv.join(" ")} took more than ${timeoutMs / 1000} s: ${JSON.stringify(result)}`);
    return result;
  } finally {
    clearTimeout(timer);
    child.stdin?.destroy();
  }
}

/** Run a command that must succeed, and return its stdout without the last line end. */
export async function output(argv: string[], options: CommandOptions = {}): Promise<string> {
  const { status, stdout, stderr } = await run(argv, options);
  if (status !== 0)
    throw new Error(`${argv.join(" ")} exited with ${status}: ${stderr.trim() || stdout.trim()}`);
  return stdout.replace(/\r?\n$/, "");
}
