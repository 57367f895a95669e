/** A restart policy as the API has it. */
interface RestartPolicy {
  Name: string;
  MaximumRetryCount: number;
}

/** `always`, `on-failure:3`: the name is for the engine to judge. @throws Error in Docker's words */
export function parseRestartPolicy(policy: string): RestartPolicy {
  const [name = "", ...rest] = policy.split(":");
  if (rest.length > 0 && name === "") {
    throw new Error("invalid restart policy format: no policy provided before colon");
  }
  const count = rest.join(":");
  if (!/^(|[+-]?[0-9]+)$/.test(count)) {
    throw new Error("invalid restart policy format: maximum retry count must be an integer");
  }
  return { Name: name, MaximumRetryCount: Number(count) };
}

/** Whether it is a policy that starts a container again. */
export function isRestarting(policy: unknown): boolean {
  const { Name } = policy as RestartPolicy;
  return Name !== "" && Name !== "no";
}
