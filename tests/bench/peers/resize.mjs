// sharp, two pictures at a time: node resize.mjs IN OUT WIDTH fast|accurate jpeg|png
import fs from 'fs';
import path from 'path';
import sharp from 'sharp';

const [, , from, to, width, how, format] = process.argv;
fs.mkdirSync(to, { recursive: true });
const files = fs.readdirSync(from).filter((name) => name.endsWith('.jpg')).sort();
let next = 0;

async function worker() {
  while (next < files.length) {
    const name = files[next++];
    const image = sharp(path.join(from, name)).resize({ width: +width, fastShrinkOnLoad: how !== 'accurate' });
    const made = format === 'png' ? image.png({ compressionLevel: 1 }) : image.jpeg({ quality: 80 });
    await made.toFile(path.join(to, name.replace('.jpg', `.${format}`)));
  }
}

const began = process.hrtime.bigint();
await Promise.all([worker(), worker()]);
console.log(Number(process.hrtime.bigint() - began) / 1e9);
