/**
 * The media type that a client asks for by name, of those that there are; a wildcard asks for none.
 * @param accept the request's header
 * @param offers the first of them where several are wanted as much
 */
export function acceptedType(accept: string | undefined, offers: readonly string[]): string | undefined {
  const wanted = (accept ?? "").split(",").map((one) => {
    const [type = "", ...parameters] = one.split(";").map((part) => part.trim());
    const quality = parameters.find((parameter) => /^q=/i.test(parameter));
    const value = quality === undefined ? 1 : Number(quality.slice(2));
    return { type: type.toLowerCase(), quality: Number.isNaN(value) ? 0 : value };
  });
  const best = Math.max(
    0,
    ...wanted.flatMap(({ type, quality }) => (offers.includes(type) ? [quality] : [])),
  );
  if (best === 0) return undefined;
  return offers.find((offer) => wanted.some(({ type, quality }) => type === offer && quality === best));
}
