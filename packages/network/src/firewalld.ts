import type { Logger } from "@longshore/log";
import { DbusConnection, DbusError } from "./dbus.ts";

const NAME = "org.fedoraproject.FirewallD1";
const ZONE = {
  ...{ destination: NAME, path: "/org/fedoraproject/FirewallD1", interface: `${NAME}.zone` },
};
/** Its zone for what it lets pass; our own rules are the judges of containers' traffic. */
const TRUSTED = "trusted";
/** After the bus has gone, until somebody looks whether it is back. */
const RETRY_MS = 1000;
/** When it starts, and when it has read its configuration anew. */
const SIGNALS = [
  `type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='${NAME}'`,
  `type='signal',sender='${NAME}',interface='${NAME}',member='Reloaded'`,
];

/**
 * Has firewalld, whenever it runs and as often as the message bus starts anew, let pass what comes from containers: it refuses to forward
 * what comes by interfaces that it doesn't know. An interface that its administrator has put in a zone stays there.
 */
export class Firewalld implements Disposable {
  readonly #socketPath: string;
  readonly #log: Logger;
  #bus: DbusConnection | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;
  #wanted: ReadonlySet<string> = new Set();
  /** Those that it has from us. */
  readonly #told = new Set<string>();
  #telling: Promise<void> = Promise.resolve();
  /** When it has last started or read its configuration anew. */
  reloadedAt: Date | undefined;

  private constructor(socketPath: string, log: Logger) {
    this.#socketPath = socketPath;
    this.#log = log;
  }

  /** Undefined on a host without a message bus: it has no firewalld. */
  static async open(socketPath: string, log: Logger): Promise<Firewalld | undefined> {
    const firewalld = new Firewalld(socketPath, log);
    try {
      await firewalld.#connect();
      return firewalld;
    } catch (error) {
      log.debug({ err: error }, "no message bus, and so no firewalld");
      return undefined;
    }
  }

  /** Whether it runs, and has taken what it was told. */
  get isAtWork(): boolean {
    return this.#told.size > 0;
  }

  /** Let it know all of our bridges. */
  trust(bridges: readonly string[]): void {
    this.#wanted = new Set(bridges);
    this.#telling = this.#telling.then(() => this.#tell());
  }

  /** What it was to be told it has been told. */
  async settled(): Promise<void> {
    await this.#telling;
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    this.#bus?.[Symbol.dispose]();
  }

  async #connect(): Promise<void> {
    using undo = new DisposableStack();
    const told = () => {
      this.reloadedAt = new Date();
      this.#again();
    };
    const bus = undo.use(
      await DbusConnection.open(this.#socketPath, {
        told,
        gone: () => bus === this.#bus && this.#comeBack(),
      }),
    );
    for (const signal of SIGNALS) await bus.match(signal);
    if (this.#isClosed) return;
    undo.move();
    this.#bus = bus;
  }

  /** To a bus that has gone; firewalld, when it starts on the next one, knows nothing of us. */
  #comeBack(): void {
    if (this.#isClosed) return;
    this.#retry = setTimeout(() => {
      this.#connect().then(
        () => this.#again(),
        () => this.#comeBack(),
      );
    }, RETRY_MS);
    this.#retry.unref();
  }

  #again(): void {
    this.#telling = this.#telling.then(() => this.#tell({ anew: true }));
  }

  /** @param anew it may have forgotten what it was told, or not: what is to go is taken from it all the same */
  async #tell({ anew = false } = {}): Promise<void> {
    for (const bridge of [...this.#told].filter((one) => !this.#wanted.has(one))) {
      await this.#call("removeInterface", bridge);
      this.#told.delete(bridge);
    }
    for (const bridge of this.#wanted)
      if ((anew || !this.#told.has(bridge)) && (await this.#call("addInterface", bridge)))
        this.#told.add(bridge);
  }

  /** @returns whether it did it, or had it done before */
  async #call(member: string, bridge: string): Promise<boolean> {
    try {
      await this.#bus?.call({ ...ZONE, member, args: [TRUSTED, bridge] });
      return true;
    } catch (error) {
      if (!(error instanceof DbusError)) return false;
      if (error.message.includes("ALREADY_") || error.message.includes("UNKNOWN_INTERFACE")) return true;
      // It doesn't run; or it has the interface in another zone, where its administrator has put it.
      if (!error.error.endsWith(".ServiceUnknown") && !error.error.endsWith(".NameHasNoOwner"))
        this.#log.warn({ bridge, err: error }, "firewalld doesn't let containers' traffic pass");
      return false;
    }
  }
}
