export {
  type AttributeOptions,
  attach,
  cloneTree,
  type FileSystemOptions,
  makeFileSystem,
  setAttributes,
  setPropagation,
} from "./attach.ts";
export {
  type Attributes,
  attributesOf,
  bindChange,
  flagNames,
  flagsOfStatfs,
  knownOptions,
  type MountOptions,
  MS_ATIME,
  MS_LOCKABLE,
  type Propagation,
  parseOptions,
  parsePropagation,
  superblockWords,
} from "./options.ts";
export { type Kind, LeadsIntoProc, type OpenOptions, Rooted } from "./rooted.ts";
