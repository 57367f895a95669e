import { spawnSync } from "node:child_process";
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { repoRoot } from "./paths.ts";
import { Refusal } from "./refusal.ts";

const PNPM_VERSION = "12.21.0";
const STAMP = path.join(repoRoot, "node_modules/.longshore-installed");

/** Attempts a few seconds apart: as pnpm has it, it takes seven minutes to say that there is no network. */
const RETRIES = { pnpm_config_fetch_retry_mintimeout: "1000", pnpm_config_fetch_retry_maxtimeout: "3000" };

function manifests(): string[] {
  const folders = ["packages", "services"].flatMap((top) =>
    fs.readdirSync(path.join(repoRoot, top)).map((name) => path.join(top, name, "package.json")),
  );
  return ["package.json", "pnpm-workspace.yaml", "pnpm-lock.yaml", ...folders];
}

function fingerprint(): string {
  const hash = crypto.createHash("sha256");
  for (const name of manifests()) {
    const file = path.join(repoRoot, name);
    if (fs.existsSync(file)) hash.update(`${name}\0`).update(fs.readFileSync(file));
  }
  return hash.digest("hex");
}

/** What pnpm says in a frame and in short lines, else the line that names an error. */
function reasonIn(text: string): string {
  const framed = /╰─▶ (.*(?:\n {6}\S.*)*)/.exec(text)?.[1];
  if (framed !== undefined) return framed.replaceAll(/\s*\n\s*/g, " ").trim();
  const lines = text.trim().split("\n");
  return (lines.find((line) => /ERR|error/.test(line)) ?? lines.at(-1) ?? "").trim();
}

function execute(command: string, args: string[], what: string): void {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: repoRoot,
    encoding: "utf8",
    env: { ...RETRIES, ...process.env, CI: "1", npm_config_yes: "true" },
    maxBuffer: 1 << 28,
  });
  if (status === 0) return;
  throw new Refusal(`can't ${what}: ${error?.message ?? reasonIn(`${stderr}\n${stdout}`)}`);
}

/**
 * Install pnpm when there is none, and the workspace's packages unless they are as the manifests say.
 *
 * @throws Refusal when a registry can't be reached
 */
export function installWorkspace(progress: (line: string) => void): void {
  const print = fingerprint();
  if (fs.existsSync(STAMP) && fs.readFileSync(STAMP, "utf8") === print) return;
  if (spawnSync("pnpm", ["--version"]).status !== 0) {
    progress(`npm install -g pnpm@${PNPM_VERSION}`);
    execute("npm", ["install", "--global", `pnpm@${PNPM_VERSION}`], "install pnpm");
  }
  progress("pnpm install");
  execute("pnpm", ["install", "--frozen-lockfile"], "install the workspace's packages");
  fs.writeFileSync(STAMP, print);
}
