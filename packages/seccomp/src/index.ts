export { alternatives, compileFilter, type Filter } from "./compile.ts";
export {
  ARCHITECTURES,
  actionValue,
  architectureValue,
  enosysPrelude,
  filterFlags,
  hasListener,
  isPermissive,
  operatorValue,
} from "./translate.ts";
