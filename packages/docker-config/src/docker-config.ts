import fs from "node:fs";
import path from "node:path";
import { EngineError, isErrno } from "@longshore/errors";
import { type CredentialHelper, credentialHelper } from "./credential-helper.ts";
import { ANONYMOUS, type Credentials } from "./credentials.ts";

/** The key under which the credentials of Docker Hub are kept. */
const HUB_KEY = "https://index.docker.io/v1/";
const TOKEN_USER = "<token>";

type Json = Record<string, unknown>;

/** Docker's `config.json`: which credentials are kept for which registry, in the file itself or by credential helpers. */
export class DockerConfig {
  readonly file: string;
  readonly #json: Json;
  readonly #helper: (name: string) => CredentialHelper;

  private constructor(file: string, json: Json, helper: (name: string) => CredentialHelper) {
    this.file = file;
    this.#json = json;
    this.#helper = helper;
  }

  /**
   * Read the file of a directory; an absent one is empty.
   * @throws EngineError `invalid_argument` when it isn't JSON of the right shape
   */
  static read(
    dir: string = configDirectory(),
    helper: (name: string) => CredentialHelper = credentialHelper,
  ): DockerConfig {
    const file = path.join(dir, "config.json");
    let text = "";
    try {
      text = fs.readFileSync(file, "utf8");
    } catch (error) {
      if (!isErrno(error, "ENOENT", "ENOTDIR")) throw error;
    }
    return new DockerConfig(file, parseConfig(text, file), helper);
  }

  /** The credentials for a domain; nobody's when none are kept. */
  async get(domain: string, signal: AbortSignal): Promise<Credentials> {
    const key = keyOf(domain);
    const helper = this.#helperOf(domain);
    if (helper) {
      const found = await helper.get(key, signal);
      if (!found) return ANONYMOUS;
      return found.username === TOKEN_USER
        ? { ...ANONYMOUS, identityToken: found.secret }
        : { ...ANONYMOUS, username: found.username, password: found.secret };
    }
    return this.#stored(key);
  }

  /** Keep credentials for a domain; says where. */
  async put(domain: string, credentials: Credentials, signal: AbortSignal): Promise<string> {
    const key = keyOf(domain);
    const { username, password, identityToken } = credentials;
    const helper = this.#helperOf(domain);
    const entry: Json = identityToken
      ? { auth: encode(username, ""), identitytoken: identityToken }
      : { auth: encode(username, password) };
    if (helper) {
      const login = identityToken
        ? { username: TOKEN_USER, secret: identityToken }
        : { username, secret: password };
      await helper.store(key, login, signal);
    }
    this.#setAuth(key, helper ? {} : entry);
    this.#write();
    return helper ? `the credential helper ${helper.name}` : this.file;
  }

  /** Forget the credentials of a domain; false when none were kept. */
  async remove(domain: string, signal: AbortSignal): Promise<boolean> {
    const key = keyOf(domain);
    const helper = this.#helperOf(domain);
    const known = helper ? (await helper.get(key, signal)) !== undefined : false;
    if (helper) await helper.erase(key, signal);
    const names = Object.keys(this.#auths()).filter((name) => bareHost(name) === bareHost(key));
    for (const name of names) this.#setAuth(name, undefined);
    if (names.length > 0) this.#write();
    return known || names.length > 0;
  }

  #helperOf(domain: string): CredentialHelper | undefined {
    const helpers = asObject(this.#json.credHelpers);
    const name = helpers[keyOf(domain)] ?? helpers[domain] ?? this.#json.credsStore;
    return typeof name === "string" && name !== "" ? this.#helper(name) : undefined;
  }

  #stored(key: string): Credentials {
    const auths = this.#auths();
    const name = key in auths ? key : Object.keys(auths).find((other) => bareHost(other) === bareHost(key));
    if (name === undefined) return ANONYMOUS;
    const entry = asObject(auths[name]);
    const text = (field: string) => (typeof entry[field] === "string" ? entry[field] : "");
    const { username, password } = decode(text("auth"), text("username"), text("password"));
    return { username, password, identityToken: text("identitytoken"), registryToken: text("registrytoken") };
  }

  #auths(): Json {
    return asObject(this.#json.auths);
  }

  #setAuth(key: string, entry: Json | undefined): void {
    const auths = { ...this.#auths() };
    if (entry) auths[key] = entry;
    else delete auths[key];
    this.#json.auths = auths;
  }

  /** Everything else in the file stays as it is; who reads it meanwhile sees the old one or the new one. */
  #write(): void {
    fs.mkdirSync(path.dirname(this.file), { recursive: true, mode: 0o700 });
    // A link's target is what is written, as Docker does.
    const target = fs.existsSync(this.file) ? fs.realpathSync(this.file) : this.file;
    const temporary = `${target}.${process.pid}.tmp`;
    try {
      fs.writeFileSync(temporary, `${JSON.stringify(this.#json, null, "\t")}\n`, { mode: 0o600, flag: "wx" });
      fs.renameSync(temporary, target);
    } catch (error) {
      fs.rmSync(temporary, { force: true });
      throw error;
    }
  }
}

/** `DOCKER_CONFIG`, or `.docker` in the home directory. */
export function configDirectory(): string {
  return process.env.DOCKER_CONFIG || path.join(process.env.HOME ?? "/root", ".docker");
}

/** What the docker CLI calls a registry in its config. */
export function keyOf(domain: string): string {
  return domain === "docker.io" || domain === "registry-1.docker.io" ? HUB_KEY : domain;
}

function bareHost(name: string): string {
  return name.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
}

/** @throws EngineError `invalid_argument` for what is no JSON object, or whose parts have other types than Docker's */
export function parseConfig(text: string, file: string): Json {
  if (text.trim() === "") return {};
  const fail = (why: string) => new EngineError("invalid_argument", `${file}: ${why}`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw fail(error instanceof Error ? error.message : String(error));
  }
  if (!isObject(json)) throw fail("not a JSON object");
  for (const key of ["auths", "credHelpers"]) {
    const part = json[key];
    if (part !== undefined && part !== null && !isObject(part)) throw fail(`${key} is not an object`);
  }
  for (const [name, auth] of Object.entries(asObject(json.auths))) {
    if (!isObject(auth)) throw fail(`auths.${JSON.stringify(name)} is not an object`);
  }
  return json;
}

function encode(username: string, password: string): string {
  return Buffer.from(`${username}:${password}`).toString("base64");
}

function decode(auth: string, username: string, password: string): { username: string; password: string } {
  if (auth === "") return { username, password };
  const text = Buffer.from(auth, "base64").toString();
  const colon = text.indexOf(":");
  if (colon < 0) return { username, password };
  return { username: text.slice(0, colon), password: text.slice(colon + 1).replace(/\0+$/, "") };
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function asObject(value: unknown): Json {
  return isObject(value) ? value : {};
}
