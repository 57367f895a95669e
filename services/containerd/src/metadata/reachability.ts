/** One object that garbage collection knows: `content`, `snapshot`, `image`, `container`, `lease` or `ingest`. */
export interface GcNode {
  readonly kind: string;
  readonly namespace: string;
  /** Of a snapshot `<snapshotter>/<name>`, of content the digest. */
  readonly key: string;
  /** Held for itself only: what its labels refer to is not followed. */
  readonly flat?: boolean;
}

export const nodeId = ({ kind, namespace, key }: GcNode) => `${kind} ${namespace} ${key}`;

/**
 * All nodes that can be reached from the roots.
 *
 * @returns their ids, as `nodeId` makes them
 */
export async function reachable(
  roots: readonly GcNode[],
  referencesOf: (node: GcNode) => Promise<readonly GcNode[]>,
): Promise<Set<string>> {
  const found = new Set<string>();
  // A node reached flat may be reached again in full, and is followed again then.
  const followed = new Set<string>();
  const queue = [...roots];
  for (let node = queue.pop(); node !== undefined; node = queue.pop()) {
    const id = nodeId(node);
    found.add(id);
    const visit = `${node.flat === true} ${id}`;
    if (followed.has(visit) || followed.has(`false ${id}`)) continue;
    followed.add(visit);
    queue.push(...(await referencesOf(node)));
  }
  return found;
}

const FORWARD = "containerd.io/gc.ref.";
const BACKWARD = "containerd.io/gc.bref.";

/** What labels `containerd.io/gc.ref.{content,image,snapshot.NAME}` point to. */
export function labelReferences(namespace: string, labels: Readonly<Record<string, string>>): GcNode[] {
  return referencesUnder(FORWARD, namespace, labels);
}

/** What labels `containerd.io/gc.bref.{container,content,image,snapshot.NAME}` say their bearer belongs to. */
export function labelOwners(namespace: string, labels: Readonly<Record<string, string>>): GcNode[] {
  return referencesUnder(BACKWARD, namespace, labels);
}

function referencesUnder(
  prefix: string,
  namespace: string,
  labels: Readonly<Record<string, string>>,
): GcNode[] {
  return Object.entries(labels).flatMap(([label, value]) => {
    if (!label.startsWith(prefix)) return [];
    const rest = label.slice(prefix.length);
    const snapshotter = /^snapshot\.([^/]+)/.exec(rest)?.[1];
    if (snapshotter !== undefined) return [{ kind: "snapshot", namespace, key: `${snapshotter}/${value}` }];
    const kind = /^(content|image|container)(?:[./]|$)/.exec(rest)?.[1];
    if (kind === undefined || (kind === "container" && prefix === FORWARD)) return [];
    return [{ kind, namespace, key: value }];
  });
}
