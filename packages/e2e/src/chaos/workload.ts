import type { Random } from "./random.ts";

/** A container that writes numbered lines and exits with a known code. */
export interface Short {
  name: string;
  lines: number;
  pauseUs: number;
  code: number;
  autoRemove: boolean;
  /** Milliseconds after the round's begin. */
  startMs: number;
}

export interface ExecPlan {
  code: number;
  startMs: number;
  /** In a container of this round, by its number; else in one that lives through all rounds. */
  target: number | undefined;
}

export type Victim = "containerd" | "dockerd" | "nats-server";
export const VICTIMS: Record<string, readonly Victim[]> = {
  containerd: ["containerd"],
  dockerd: ["dockerd"],
  "nats-server": ["nats-server"],
  all: ["nats-server", "containerd", "dockerd"],
};

export interface RoundPlan {
  shorts: Short[];
  execs: ExecPlan[];
  victims: keyof typeof VICTIMS;
  killMs: number;
  /** How long they stay dead. */
  awayMs: number;
}

/** What happens in a round: all of it follows from the seed. */
export function planRound(round: number, containers: number, random: Random): RoundPlan {
  const victims = random.pick(["containerd", "dockerd", "nats-server", "all"]);
  const shorts = Array.from(
    { length: containers },
    (_, index): Short => ({
      name: `r${round}c${index}`,
      lines: random.between(1, 40),
      pauseUs: random.between(1000, 25_000),
      code: random.between(0, 120),
      autoRemove: random.next() < 0.15,
      startMs: random.between(0, 500),
    }),
  );
  const execs = Array.from(
    { length: 4 },
    (_, index): ExecPlan => ({
      code: random.between(1, 100),
      startMs: random.between(0, 1200),
      target: index % 2 === 0 ? undefined : random.between(0, containers - 1),
    }),
  );
  return { shorts, execs, victims, killMs: random.between(0, 1500), awayMs: random.between(0, 400) };
}

/** The command of a short container. */
export function shortScript({ lines, pauseUs, code }: Short): string {
  return `i=0; while [ $i -lt ${lines} ]; do i=$((i+1)); echo "line $i"; usleep ${pauseUs}; done; echo end; exit ${code}`;
}

export function shortLog({ lines }: Short): string[] {
  return [...Array.from({ length: lines }, (_, index) => `line ${index + 1}`), "end"];
}

export const STEADY_CODE = 21;
/** Lives until it is told to end. */
export const STEADY_SCRIPT = `trap "echo bye; exit ${STEADY_CODE}" TERM; i=0; while :; do i=$((i+1)); echo $i; usleep 30000; done`;
