import { EngineError, errorCode } from "@longshore/errors";
import type { Container } from "./container.ts";

const PREFIX = /^[a-f0-9]{1,64}$/;

/** All containers by id and by name; names are taken before a container exists, so that two creates can't share one. */
export class ContainerIndex {
  private readonly byId = new Map<string, Container>();
  private readonly idByName = new Map<string, string>();

  /**
   * Take a name.
   * @throws EngineError `conflict` in Docker's words
   */
  reserve(name: string, id: string): void {
    const holder = this.idByName.get(name);
    if (holder !== undefined && holder !== id) {
      throw new EngineError(
        "conflict",
        `Conflict. The container name "/${name}" is already in use by container "${holder}". You have to remove (or rename) that container to be able to reuse that name.`,
      );
    }
    this.idByName.set(name, id);
  }

  release(name: string, id: string): void {
    if (this.idByName.get(name) === id) this.idByName.delete(name);
  }

  add(container: Container): void {
    this.reserve(container.record.name, container.id);
    this.byId.set(container.id, container);
  }

  delete(container: Container): void {
    this.byId.delete(container.id);
    this.release(container.record.name, container.id);
  }

  get(id: string): Container | undefined {
    return this.byId.get(id);
  }

  isNameFree(name: string): boolean {
    return !this.idByName.has(name);
  }

  /** Whether there is a container of this id, or one being made. */
  has(id: string): boolean {
    return this.byId.has(id) || [...this.idByName.values()].includes(id);
  }

  /**
   * A container that a request names within its body: 404 would be taken for an image that is missing.
   * @throws EngineError `invalid_argument` in Docker's words
   */
  findNamed(nameOrId: string): Container {
    try {
      return this.find(nameOrId);
    } catch (error) {
      if (errorCode(error) !== "not_found") throw error;
      throw new EngineError("invalid_argument", `No such container: ${nameOrId}`, { cause: error });
    }
  }

  /** Newest first. */
  list(): Container[] {
    return [...this.byId.values()].sort((a, b) => (a.record.created < b.record.created ? 1 : -1));
  }

  /**
   * By full id, name, or a beginning of the id that fits only one.
   * @throws EngineError `not_found` or `invalid_argument` in Docker's words
   */
  find(nameOrId: string): Container {
    if (nameOrId === "") throw new EngineError("invalid_argument", 'invalid name or ID supplied: ""');
    const exact =
      this.byId.get(nameOrId) ?? this.byId.get(this.idByName.get(nameOrId.replace(/^\//, "")) ?? "");
    if (exact) return exact;
    const matches = PREFIX.test(nameOrId)
      ? [...this.byId.keys()].filter((id) => id.startsWith(nameOrId))
      : [];
    if (matches.length > 1) {
      throw new EngineError("invalid_argument", `multiple IDs found with provided prefix: ${nameOrId}`);
    }
    const found = this.byId.get(matches[0] ?? "");
    if (!found) throw new EngineError("not_found", `No such container: ${nameOrId}`);
    return found;
  }
}
