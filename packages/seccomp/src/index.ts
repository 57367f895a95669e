export { alternatives, compileFilter, type Filter } from "./compile.ts";
export {
  ARCHITECTURES,
  actionValue,
  architectureValue,
  enosysPrelude,
  filterFlags,
  isPermissive,
  operatorValue,
} from "./translate.ts";
