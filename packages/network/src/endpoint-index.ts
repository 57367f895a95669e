import type { EndpointRecord } from "./records.ts";

/** Endpoints by what they are looked for. */
export class EndpointIndex {
  readonly #bySandbox = new Groups();
  readonly #byNetwork = new Groups();
  readonly #byName = new Groups();

  add(endpoint: EndpointRecord): void {
    for (const [groups, key] of this.#places(endpoint)) groups.add(key, endpoint);
  }

  delete(endpoint: EndpointRecord): void {
    for (const [groups, key] of this.#places(endpoint)) groups.delete(key, endpoint);
  }

  ofSandbox(sandboxId: string): EndpointRecord[] {
    return this.#bySandbox.get(sandboxId);
  }

  ofNetwork(networkId: string): EndpointRecord[] {
    return this.#byNetwork.get(networkId);
  }

  /** Of a network; the name in lower case. */
  named(networkId: string, name: string): EndpointRecord[] {
    return this.#byName.get(`${networkId}/${name}`);
  }

  #places(endpoint: EndpointRecord): [Groups, string][] {
    const { sandboxId, networkId, names = [] } = endpoint;
    return [
      [this.#bySandbox, sandboxId],
      [this.#byNetwork, networkId],
      ...names.map((name): [Groups, string] => [this.#byName, `${networkId}/${name}`]),
    ];
  }
}

/** In each group the order in which they came. */
class Groups {
  readonly #groups = new Map<string, Set<EndpointRecord>>();

  get(key: string): EndpointRecord[] {
    return [...(this.#groups.get(key) ?? [])];
  }

  add(key: string, endpoint: EndpointRecord): void {
    const group = this.#groups.get(key) ?? new Set();
    this.#groups.set(key, group.add(endpoint));
  }

  delete(key: string, endpoint: EndpointRecord): void {
    const group = this.#groups.get(key);
    group?.delete(endpoint);
    if (group?.size === 0) this.#groups.delete(key);
  }
}
