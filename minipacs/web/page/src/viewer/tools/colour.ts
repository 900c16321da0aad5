/** Colours as DICOM tells them: CIELab in three words of 16 bits (PS3.3 C.10.7.1.1). */
export function fromLab(words: readonly number[]): string | undefined {
  const [l, a, b] = words;
  if (l === undefined || a === undefined || b === undefined) return undefined;
  const lightness = ((l / 65535) * 100 + 16) / 116;
  const [x, y, z] = [
    lightness + ((a / 65535) * 255 - 128) / 500,
    lightness,
    lightness - ((b / 65535) * 255 - 128) / 200,
  ].map((value) => (value > 6 / 29 ? value ** 3 : 3 * (6 / 29) ** 2 * (value - 4 / 29))) as [number, number, number];
  // White is that of D50, as in profiles of PCS; the matrix leads to sRGB.
  const [wx, wy, wz] = [x * 0.9642, y, z * 0.8249];
  const linear = [
    3.1339 * wx - 1.6169 * wy - 0.4906 * wz,
    -0.9788 * wx + 1.9161 * wy + 0.0335 * wz,
    0.0719 * wx - 0.229 * wy + 1.4052 * wz,
  ];
  const bytes = linear.map((value) => {
    const within = Math.min(Math.max(value, 0), 1);
    return Math.round(255 * (within <= 0.0031308 ? 12.92 * within : 1.055 * within ** (1 / 2.4) - 0.055));
  });
  return `rgb(${bytes.join(", ")})`;
}
