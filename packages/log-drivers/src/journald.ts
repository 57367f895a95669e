import { ATTRIBUTE_OPTIONS, attributesOf, checkAttributes } from "./attributes.ts";
import type { LogDriver } from "./driver.ts";
import { checkNames } from "./options.ts";
import { tagOf } from "./tag.ts";

const NAME = "journald";
const SHORT_ID = 12;
/** @see systemd's JOURNAL_NATIVE_PROTOCOL */
export const JOURNAL_SOCKET = "/run/systemd/journal/socket";

/** systemd's journal. */
export const journald: LogDriver = {
  name: NAME,
  check(options) {
    checkNames(NAME, options, ["tag", ...ATTRIBUTE_OPTIONS]);
    checkAttributes(options);
  },
  plan: (options, { about }) => {
    const tag = tagOf(options, about, "{{.ID}}");
    const extra = Object.entries(attributesOf(options, about)).map(([name, value]) => [
      fieldName(name),
      value,
    ]);
    return {
      remote: {
        driver: NAME,
        socketPath: JOURNAL_SOCKET,
        fields: {
          ...Object.fromEntries(extra),
          CONTAINER_ID: about.id.slice(0, SHORT_ID),
          CONTAINER_ID_FULL: about.id,
          CONTAINER_NAME: about.name,
          CONTAINER_TAG: tag,
          IMAGE_NAME: about.imageName,
          SYSLOG_IDENTIFIER: tag,
        },
      },
    };
  },
};

/** What the journal takes for a field's name: capital letters, digits and `_`, which is not the first. */
function fieldName(name: string): string {
  return name
    .toUpperCase()
    .replace(/[^A-Z0-9_]/g, "_")
    .replace(/^_+/, "");
}
