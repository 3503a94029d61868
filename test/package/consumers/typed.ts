// Uses in strict TypeScript the types of what the README shows.
import {
  type ImageBatch,
  type Logits,
  openDevice,
  PixelCNN,
  PixelCnnError,
  type TrainEvent,
  type TrainSummary,
  train,
} from 'pixelcnn';

export async function consume(images: ImageBatch): Promise<number> {
  const device = await openDevice({ backend: 'auto', threads: 2 });
  const model = await PixelCNN.create(device, { levels: 2, hiddenChannels: 32 });
  const run = train(model, images, { epochs: 1 });
  for await (const event of run) {
    const known: TrainEvent = event;
    if (known.type === 'step') console.log(known.step.toFixed(0), known.bitsPerDim.toFixed(3));
  }
  const summary: TrainSummary = await run;
  const logits: Logits = await model.logits(images);
  const drawn: Uint8Array = (await model.sample({ count: 4, seed: 1 })).data;
  // @ts-expect-error a count is a number
  await model.sample({ count: '4' });
  await device.dispose();
  return summary.steps + logits.data.length + drawn.length;
}

export function codeOf(error: unknown): string {
  return error instanceof PixelCnnError ? error.code : 'unknown';
}
