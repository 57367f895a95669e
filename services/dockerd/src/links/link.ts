/** One container known to another by a name of that one's own. */
export interface ContainerLink {
  /** The linked container's id. */
  target: string;
  alias: string;
}

/** The network on which links are the containers', and set variables. */
export const DEFAULT_NETWORK = "bridge";
