export * from "@longshore/cgroups/systemd";
