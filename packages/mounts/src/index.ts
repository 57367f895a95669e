export { attach, cloneTree, makeFileSystem, setAttributes, setPropagation } from "./attach.ts";
export {
  type Attributes,
  knownOptions,
  type MountOptions,
  type Propagation,
  parseOptions,
  parsePropagation,
} from "./options.ts";
export { type Kind, Rooted } from "./rooted.ts";
