export { rowJson } from "./functions.ts";
export { type GoFields, type GoType, WHOLE_ROW } from "./go-value.ts";
export { checkTemplate, renderDecoded, renderTemplate, renderTyped } from "./render-template.ts";
export { TemplateError } from "./template-error.ts";
