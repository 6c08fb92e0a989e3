"""Convolution in PyTorch, in the faster of its two memory layouts, with its automatic differentiation."""

import time

import job


def run(args):
    import torch
    from torch.nn.functional import conv2d, linear, relu

    torch.set_num_threads(1)

    def in_layout(layout, images, d_outputs, weights):
        x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        kernel = torch.from_numpy(weights[0]).permute(3, 2, 0, 1).contiguous(memory_format=layout)
        parameters = [kernel, torch.from_numpy(weights[1])]
        d_y = torch.from_numpy(d_outputs)
        if len(weights) > 2:
            # PyTorch flattens channels first, and keeps weights as [out, in].
            first = torch.from_numpy(weights[2]).reshape(8, 8, 16, 128).permute(3, 2, 0, 1).reshape(128, 1024)
            parameters += [first.contiguous(), torch.from_numpy(weights[3]),
                           torch.from_numpy(weights[4]).t().contiguous(), torch.from_numpy(weights[5])]
        else:
            d_y = d_y.permute(0, 3, 1, 2).contiguous(memory_format=layout)
        for parameter in parameters:
            parameter.requires_grad_()

        def call():
            for parameter in parameters:
                parameter.grad = None
            y = conv2d(x, parameters[0], parameters[1])
            if len(parameters) > 2:
                y = linear(relu(y).flatten(1), parameters[2], parameters[3])
                y = linear(relu(y), parameters[4], parameters[5])
            y.backward(d_y)
            return y.detach(), [parameter.grad for parameter in parameters]

        return call

    def seconds(call):
        call()
        start = time.perf_counter()
        for _ in range(50):
            call()
        return time.perf_counter() - start

    def prepare(*data):
        layouts = torch.contiguous_format, torch.channels_last
        return min((in_layout(layout, *data) for layout in layouts), key=seconds)

    return {"version": job.version("torch"), **job.conv_report(prepare)}


if __name__ == "__main__":
    job.main("PyTorch", run)
