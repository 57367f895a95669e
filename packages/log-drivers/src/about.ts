/** What drivers may tell of a container. */
export interface AboutContainer {
  id: string;
  /** Without the slash. */
  name: string;
  /** `sha256:…` */
  imageId: string;
  imageName: string;
  /** Program and arguments. */
  command: readonly string[];
  /** RFC 3339 */
  created: string;
  env: readonly string[];
  labels: Readonly<Record<string, string>>;
  /** What the daemon calls itself. */
  daemonName: string;
}
