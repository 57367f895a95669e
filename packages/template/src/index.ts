export { rowJson, WHOLE_ROW } from "./functions.ts";
export { checkTemplate, renderTemplate } from "./render-template.ts";
export { TemplateError } from "./template-error.ts";
