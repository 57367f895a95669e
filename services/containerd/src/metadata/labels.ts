import { validateLabels } from "../labels.ts";

export type Labels = Record<string, string>;

/**
 * Labels as they are stored: those with an empty value are no labels.
 *
 * @param what stands before the message of an error: `info.Labels`
 * @throws EngineError `invalid_argument` for one that is too long
 */
export function storedLabels(what: string, labels: Readonly<Labels>): Labels {
  validateLabels(what, labels);
  return Object.fromEntries(Object.entries(labels).filter(([, value]) => value !== ""));
}

/**
 * The labels after an update: all of them, or those that the field paths name (`labels`, `labels.<key>`).
 *
 * @param other called with each path that is not about labels
 */
export function updatedLabels(
  old: Readonly<Labels>,
  wanted: Readonly<Labels>,
  paths: readonly string[],
  other: (path: string) => void,
): Labels {
  if (paths.length === 0) return { ...wanted };
  let labels: Labels = { ...old };
  for (const path of paths) {
    if (path === "labels") {
      labels = { ...wanted };
    } else if (path.startsWith("labels.")) {
      const key = path.slice("labels.".length);
      labels[key] = wanted[key] ?? "";
    } else {
      other(path);
    }
  }
  return labels;
}
