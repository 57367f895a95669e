export { rowJson, WHOLE_ROW } from "./functions.ts";
export type { GoFields, GoType } from "./go-value.ts";
export { checkTemplate, renderDecoded, renderTemplate } from "./render-template.ts";
export { TemplateError } from "./template-error.ts";
