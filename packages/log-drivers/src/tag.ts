import os from "node:os";
import { renderTemplate, TemplateError } from "@longshore/template";
import type { AboutContainer } from "./about.ts";
import { attributesOf } from "./attributes.ts";
import { invalid, type Options } from "./options.ts";

const SHORT_ID = 12;

/**
 * A container's tag: a template with Docker's fields (`{{.ID}}`, `{{.Name}}`, `{{.ImageName}}` …), as `--format` takes them.
 * @throws EngineError `invalid_argument` for a template that can't be read or names what isn't there
 */
export function tagOf(options: Options, about: AboutContainer, byDefault: string): string {
  const template = options.tag || byDefault;
  try {
    return renderTemplate(template, fieldsOf(options, about), "log-tag");
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    throw invalid(error.message);
  }
}

function fieldsOf(options: Options, about: AboutContainer): Record<string, unknown> {
  const { id, name, imageId, imageName, command, created, env, labels, daemonName } = about;
  const imageHex = imageId.replace(/^sha256:/, "");
  return {
    ID: id.slice(0, SHORT_ID),
    FullID: id,
    Name: name,
    ImageID: imageHex.slice(0, SHORT_ID),
    ImageFullID: imageId,
    ImageName: imageName,
    DaemonName: daemonName,
    Hostname: () => os.hostname(),
    Command: command.join(" "),
    Config: options,
    ContainerID: id,
    ContainerName: `/${name}`,
    ContainerEntrypoint: command[0] ?? "",
    ContainerArgs: command.slice(1),
    ContainerImageID: imageId,
    ContainerImageName: imageName,
    ContainerCreated: created,
    ContainerEnv: env,
    ContainerLabels: labels,
    ExtraAttributes: () => attributesOf(options, about),
  };
}
