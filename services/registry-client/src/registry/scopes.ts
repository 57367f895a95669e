/** What a token shall allow, in the words of the token specification. */
export function repositoryScope(path: string, ...actions: ("pull" | "push" | "delete")[]): string {
  return `repository:${path}:${actions.join(",")}`;
}

export const CATALOG_SCOPE = "registry:catalog:*";

/** One scope for each resource, in order, so that equal wishes are equal texts. */
export function joinScopes(scopes: Iterable<string>): string[] {
  const actionsOf = new Map<string, Set<string>>();
  for (const scope of scopes) {
    const colon = scope.lastIndexOf(":");
    if (colon < 0) continue;
    const resource = scope.slice(0, colon);
    const actions = actionsOf.get(resource) ?? new Set();
    for (const action of scope.slice(colon + 1).split(",")) if (action) actions.add(action);
    actionsOf.set(resource, actions);
  }
  return [...actionsOf].map(([resource, actions]) => `${resource}:${[...actions].sort().join(",")}`).sort();
}
